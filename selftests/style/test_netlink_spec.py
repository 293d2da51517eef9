#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""docs/netlink/duet.yaml and include/uapi/linux/duet.h say the same."""
import os
import re
import sys

import yaml

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def header_enums():
    """{enum name: {constant: value}}, without the __MAX machinery."""
    with open(f"{TOP}/include/uapi/linux/duet.h", encoding="utf-8") as f:
        text = re.sub(r"/\*.*?\*/", "", f.read(), flags=re.S)
    enums = {}
    for name, body in re.findall(r"enum (\w+) \{(.*?)\};", text, flags=re.S):
        value, entries = 0, {}
        for item in filter(None, (i.strip() for i in body.split(","))):
            constant, _, start = (part.strip() for part in item.partition("="))
            if constant.startswith("__") or constant.endswith("_MAX"):
                continue
            value = int(start) if start else value
            entries[constant] = value
            value += 1
        enums[name] = entries
    return text, enums


def c_name(text):
    return text.upper().replace("-", "_")


def spec_enums(spec):
    enums = {}
    groups = [(d, d["entries"], 0) for d in spec["definitions"]]
    groups += [(s, s["attributes"], 1) for s in spec["attribute-sets"]]
    groups.append((spec["operations"], spec["operations"]["list"], 1))
    for group, entries, first in groups:
        names = [e if isinstance(e, str) else e["name"] for e in entries]
        enums[group["enum-name"].replace("-", "_")] = {
            c_name(group["name-prefix"] + name): first + i for i, name in enumerate(names)}
    return enums


def dangling(spec):
    """Names that are used and not defined."""
    sets = {s["name"]: {a["name"] for a in s["attributes"]} for s in spec["attribute-sets"]}
    enums = {d["name"] for d in spec["definitions"]}
    bad = []
    for one in spec["attribute-sets"]:
        for attr in one["attributes"]:
            if attr.get("nested-attributes", "duet") not in sets or attr.get("enum", "mode") not in enums:
                bad.append(f"{one['name']}.{attr['name']}")
    for op in spec["operations"]["list"]:
        parts = [op.get(k, {}).get(d, {}) for k in ("do", "dump") for d in ("request", "reply")]
        for part in parts + [op.get("event", {})]:
            bad += [f"{op['name']}: {a}" for a in part.get("attributes", []) if a not in sets[op["attribute-set"]]]
    return bad


def main():
    with open(f"{TOP}/docs/netlink/duet.yaml", encoding="utf-8") as f:
        spec = yaml.safe_load(f)
    text, header = header_enums()
    said = spec_enums(spec)
    defines = dict(re.findall(r'#define (\w+)\s+("?[\w]+"?)$', text, flags=re.M))
    tests = [(f"enum {name}", said.get(name), header.get(name)) for name in sorted(set(said) | set(header))]
    tests.append(("names that are used are defined", dangling(spec), []))
    tests.append(("family name", defines.get(c_name(spec["c-family-name"])), f'"{spec["name"]}"'))
    group = spec["mcast-groups"]["list"][0]
    tests.append(("multicast group", defines.get(c_name(group["c-define-name"])), f'"{group["name"]}"'))
    print(f"1..{len(tests)}")
    failed = False
    for i, (name, got, want) in enumerate(tests, 1):
        if got != want:
            failed = True
            print(f"# spec {got}\n# header {want}")
        print(f"{'ok' if got == want else 'not ok'} {i} - netlink spec: {name}")
    sys.exit(failed)


if __name__ == "__main__":
    main()
