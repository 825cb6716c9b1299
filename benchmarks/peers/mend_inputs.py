#!/usr/bin/env python3
"""Takes the weights (initializers) out of a model's list of graph inputs.

A file that lists its weights as inputs keeps ONNX Runtime from folding constants, and runs at a fraction of its speed.
Both sides of a comparison use the mended file. Nothing else in the model changes.

    mend_inputs.py MODEL.onnx MENDED.onnx
"""

import argparse

import onnx


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("mended")
    args = parser.parse_args()
    model = onnx.load(args.model)
    weights = {i.name for i in model.graph.initializer}
    keep = [i for i in model.graph.input if i.name not in weights]
    removed = len(model.graph.input) - len(keep)
    del model.graph.input[:]
    model.graph.input.extend(keep)
    if model.ir_version < 4:
        model.ir_version = 4  # before version 4 every initializer had to be an input as well
    onnx.checker.check_model(model)
    onnx.save(model, args.mended)
    print(f"{args.mended}: {removed} weights taken out of the graph's inputs, {len(keep)} left: "
          + ", ".join(i.name for i in keep))


if __name__ == "__main__":
    main()
