"""Reports in one line that another process of a run was lost, in place of JAX's page of messages.

When the coordinator is lost, JAX's C++ code prints a page to stderr and aborts the process, so no
Python code of that process can report it. `jaxgan.run.processes` therefore runs this file as a
program of its own, which reads the stderr of the C++ code and passes it on.
"""

import re
import sys

# A process writes this line to its stderr when it has reported its end by itself.
TOLD = b"\0\n"
_ERROR = re.compile(rb"[EWF]\d{4} \S+ +\d+ (coordination_service|client\.h)")
_FATAL = re.compile(rb"F\d{4} .*JAX distributed service detected fatal errors.*absl::Status: (.*)")


def main(lines, out, line: str) -> None:
    """Copies lines, and replaces JAX's page about a lost process by one line.

    The copy ends at a line `TOLD`. A page that was read before it is dropped.

    Args:
        lines: the lines to copy, as bytes.
        out: the binary file to write to.
        line: the line that replaces the page, with a {} for JAX's reason.
    """
    withheld: list[bytes] = []
    why = None
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
