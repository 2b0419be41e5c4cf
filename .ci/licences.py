"""The part of `cargo deny check licenses sources` that needs nothing installed.

Reads deny.toml. Every crate of the lock file must come from crates.io, and its licence
expression must be satisfiable with the licences allowed there.
"""
import json, re, subprocess, sys, tomllib

allowed = set(tomllib.load(open("deny.toml", "rb"))["licenses"]["allow"])


def satisfied(expression):
    """Evaluates an SPDX expression: each licence is its being allowed."""
    text = expression.replace("/", " OR ")
    words = re.findall(r"\(|\)|AND|OR|[^\s()]+(?: WITH [^\s()]+)?", text)
    names = {"AND": "and", "OR": "or", "(": "(", ")": ")"}
    return eval(" ".join(names.get(w) or str(w in allowed) for w in words))


meta = subprocess.run(
    ["cargo", "metadata", "--format-version=1", "--locked",
     "--filter-platform", "x86_64-unknown-linux-gnu"],
    check=True, capture_output=True, text=True).stdout
bad = []
packages = json.loads(meta)["packages"]
for p in packages:
    what = f"{p['name']} {p['version']}"
    if p["source"] and not p["source"].startswith("registry+https://github.com/rust-lang/crates.io-index"):
        bad.append(f"{what}: comes from {p['source']}")
    if not satisfied(p["license"] or "none"):
        bad.append(f"{what}: {p['license']}")
print("\n".join(bad) or f"{len(packages)} crates, all licences allowed")
sys.exit(bool(bad))
