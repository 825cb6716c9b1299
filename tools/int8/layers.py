"""The layers of a model: what can be left in fp32 as one piece.

A layer is a node with weights (Conv, ConvTranspose, Gemm, MatMul) and the activation behind it, up to the next such
node. Its kind says why it may be sensitive:

  first        no layer before it: it sees the picture itself
  prediction   no layer after it: its values are the answer
  depthwise    a filter for each channel: few values share one scale, and ranges differ much
  plain        anything else

What lies between layers (Add, Concat, MaxPool, Resize ...) is quantised where a layer comes after it, so that values
stay in 8 bits from one layer to the next; what comes after the last layer never is: it computes boxes.
"""
WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
# One value in, one value out: part of the layer before.
ACTIVATIONS = ("Relu", "Clip", "LeakyRelu", "Sigmoid", "HardSigmoid", "HardSwish", "PRelu", "Elu", "Tanh", "Gelu")
# Of which onnxruntime.quantization makes QDQ.
QUANTISED_ACTIVATIONS = ("Relu", "Clip", "LeakyRelu", "Sigmoid")
BETWEEN = ("Add", "Mul", "Concat", "MaxPool", "AveragePool", "GlobalAveragePool", "Resize", "Reshape", "Transpose",
           "Split", "Slice", "Pad", "Squeeze", "Unsqueeze", "Flatten")
QUANTISED_OPS = WEIGHTED + QUANTISED_ACTIVATIONS + BETWEEN


class Layers:
    def __init__(self, model):
        graph = model.graph
        weights = {w.name: w for w in graph.initializer}
        weights_nodes = {o for n in graph.node if n.op_type == "Constant" for o in n.output}
        self.nodes = list(graph.node)
        producer = {output: i for i, node in enumerate(self.nodes) for output in node.output}
        consumers = {}
        for i, node in enumerate(self.nodes):
            for name in node.input:
                consumers.setdefault(name, []).append(i)

        def is_layer(node):
            return node.op_type in WEIGHTED and len(node.input) > 1 and (
                node.input[1] in weights or node.input[1] in weights_nodes)

        self.layer_nodes = [i for i, node in enumerate(self.nodes) if is_layer(node)]
        self.names = [self.nodes[i].name for i in self.layer_nodes]
        layers = set(self.layer_nodes)
        count = len(self.nodes)
        # Nodes come in an order in which inputs are made before they are used (ONNX demands it).
        self.after_layer = [False] * count
        for i, node in enumerate(self.nodes):
            before = [producer[name] for name in node.input if name in producer]
            self.after_layer[i] = any(b in layers or self.after_layer[b] for b in before)
        self.before_layer = [False] * count
        for i in reversed(range(count)):
            after = [c for name in self.nodes[i].output for c in consumers.get(name, ())]
            self.before_layer[i] = any(a in layers or self.before_layer[a] for a in after)
        self.owner = self._owners(layers, producer)
        self.kinds = {self.nodes[i].name: self._kind(i, weights) for i in self.layer_nodes}

    def _owners(self, layers, producer):
        """For each node the layer whose activation it is, or the layer itself; None for what lies between."""
        owner = {}
        for i, node in enumerate(self.nodes):
            if i in layers:
                owner[i] = node.name
                continue
            made_by = {owner.get(producer[name]) for name in node.input if name in producer}
            one = len(made_by) == 1 and None not in made_by
            # x * sigmoid(x), and x * (x + 3) / 6 with its clip, are activations, too.
            if one and (node.op_type in ACTIVATIONS or node.op_type in ("Mul", "Div", "Add") and self.before_layer[i]):
                owner[i] = made_by.pop()
        return owner

    def _kind(self, i, weights):
        node = self.nodes[i]
        if not self.after_layer[i]:
            return "first"
        if not self.before_layer[i]:
            return "prediction"
        groups = next((a.i for a in node.attribute if a.name == "group"), 1)
        shape = weights[node.input[1]].dims if node.input[1] in weights else ()
        if groups > 1 and len(shape) > 1 and shape[1] == 1:
            return "depthwise"
        return "plain"

    def described(self):
        return [{"name": name, "op": self.nodes[i].op_type, "kind": self.kinds[name]}
                for name, i in zip(self.names, self.layer_nodes)]

    def nodes_to_quantise(self, in_fp32):
        """Names of nodes, when those layers stay in fp32. With a layer stays its activation. What lies between layers
        goes along when any layer is quantised."""
        chosen = []
        if len(in_fp32) >= len(self.names):
            return chosen
        only_few = len(in_fp32) * 2 > len(self.names)
        for i, node in enumerate(self.nodes):
            if node.op_type not in QUANTISED_OPS:
                continue
            owner = self.owner.get(i)
            if owner is not None:
                if owner not in in_fp32 and (node.name == owner or self.before_layer[i]):
                    chosen.append(node.name)
            elif self.before_layer[i] and self.after_layer[i] and not only_few:
                # Where few layers are in INT8, values would be converted there and back for nothing.
                chosen.append(node.name)
        return chosen
