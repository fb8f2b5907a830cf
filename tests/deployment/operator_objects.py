"""Reads objects of the Prometheus operator with models made from its schemas: operator_objects.py FILE...

The models pass over keys that they do not know; what is read is written again and has to be the same."""

import sys

import yaml
from cloudcoil.models.prometheus_operator import v1

for file in sys.argv[1:]:
    with open(file, encoding="utf-8") as stream:
        for given in filter(None, yaml.safe_load_all(stream)):
            if given["apiVersion"] != "monitoring.coreos.com/v1":
                continue
            model = getattr(v1, given["kind"]).model_validate(given)
            understood = model.model_dump(mode="json", by_alias=True, exclude_unset=True)
            if understood != given:
                sys.exit(f"{file}: {given['kind']} has keys that are not in its schema:\n{understood}\nof\n{given}")
            print(given["kind"], "is understood")
