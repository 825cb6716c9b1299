#!/usr/bin/env python3
"""Pictures in, boxes out: detect.py URL MODEL PICTURE..."""
import sys

from sightline import Client, SightlineError

with Client(sys.argv[1]) as client:
    for picture in sys.argv[3:]:
        try:
            answer = client.detect(sys.argv[2], picture)
        except SightlineError as error:
            sys.exit(f"{picture}: {error}")
        for found in answer.detections:
            print(f"{picture}: {found['class']} {found['confidence']} {found['box_xyxy_px']}")
