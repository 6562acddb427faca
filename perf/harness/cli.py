# SPDX-License-Identifier: Apache-2.0
"""What perf/run, perf/profile and perf/placement have in common: options, signals, one line for what went wrong."""
import os, signal, sys

from . import HarnessError
from .links import SHAPES


def common(parser):
    parser.add_argument("--engines", type=words, metavar="PATTERNS",
                        help="only configurations that match, e.g. 'pageferry/*,qemu-7*/none'")
    parser.add_argument("--qemu", default=os.environ.get("PAGEFERRY_QEMU"), metavar="PATH[,PATH…]",
                        help="the QEMUs to run as peers (also $PAGEFERRY_QEMU; default: qemu-system-x86_64 in PATH); "
                        "a path may be followed by words, such as -L DIR")
    parser.add_argument("--congestion", default="cubic", help="TCP congestion control of all engines (default: cubic)")
    parser.add_argument("--lock", metavar="FILE", help="hold a lock on FILE for each sample: others here measure too")


def words(text):
    return [word for word in text.split(",") if word]


def link_names(text):
    for name in words(text):
        if name not in SHAPES:
            raise HarnessError(f"link {name} is none of {', '.join(SHAPES)}")
    return words(text)


def guarded(name, main):
    """Runs `main`, with all that it made cleaned up on SIGTERM, SIGINT and SIGHUP."""
    def leave(number, _):
        for other in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(other, signal.SIG_IGN)  # Not again while namespaces are being removed.
        sys.exit(128 + number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, leave)
    try:
        sys.exit(main())
    except BrokenPipeError:
        os._exit(141)  # Whoever read the output had enough; closing it would fail again.
    except HarnessError as error:
        print(f"{name}: {error}", file=sys.stderr)
        sys.exit(2)
