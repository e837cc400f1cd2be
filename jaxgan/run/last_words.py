"""Says in one line that another process of a run was lost, where JAX says it in a page and aborts.

JAX ends a process from its C++ when the coordinator is gone: no code of the process itself comes to
word any more. `jaxgan.processes` runs this file as a program that reads what the C++ has to say.
"""

import re
import sys

# Written by a process that has told its end itself.
TOLD = b"\0\n"
_ERROR = re.compile(rb"[EWF]\d{4} \S+ +\d+ (coordination_service|client\.h)")
_FATAL = re.compile(rb"F\d{4} .*JAX distributed service detected fatal errors.*absl::Status: (.*)")


def main(lines, out, line: str) -> None:
    """Passes on what it reads, but for JAX's page of last words, of which it makes a line.

    Args:
        lines: of bytes, to their end.
        out: where to write bytes.
        line: what to say, with a {} for JAX's reason.
    """
    withheld, why = [], None
    for text in lines:
        if text == TOLD:
            return
        if fatal := _FATAL.match(text):
            why = fatal[1].decode(errors="replace")[:160]
        if withheld or _ERROR.match(text):
            withheld.append(text)
        else:
            out.write(text)
            out.flush()
    out.write(b"".join(withheld) if why is None else (line.format(why) + "\n").encode())
    out.flush()


if __name__ == "__main__":
    main(sys.stdin.buffer, sys.stderr.buffer, sys.argv[1])
