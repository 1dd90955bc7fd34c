"""
`python -m tests.contracts.acceptance` prints how much of `docs/acceptance.md` is proven, and fails on a wrong
reference; with `--write` it brings the page's last column up to date first.
"""

import argparse
import sys

from tests.support.acceptance import PAGE, faults, filled, marks, proof_by_id, rows


def main() -> int:
    options = argparse.ArgumentParser(prog="make acceptance", description=__doc__)
    options.add_argument("--write", action="store_true", help="bring the page's last column up to date")
    options.add_argument("--missing", action="store_true", help="list what no test proves yet")
    given = options.parse_args()
    page, found = PAGE.read_text(encoding="utf-8"), marks()
    if given.write:
        page = filled(page, found)
        PAGE.write_text(page, encoding="utf-8")
    known, proofs = rows(page), proof_by_id(found)
    for system in dict.fromkeys(id_.partition("-")[0] for id_ in known):
        ids = [id_ for id_ in known if id_.startswith(f"{system}-")]
        missing = [id_ for id_ in ids if id_ not in proofs]
        sys.stdout.write(f"{system:<3} {len(ids) - len(missing):>3} of {len(ids):>3} proven\n")
        if given.missing:
            sys.stdout.writelines(f"    {id_:<6} {known[id_]}\n" for id_ in missing)
    wrong = faults(page, found)
    sys.stderr.writelines(f"{line}\n" for line in wrong)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
