"""A process of the demo: `python -m visionbus.cli.demo.child PARENT MODULE ARGUMENT...` runs MODULE, and ends with the
demo, however that one dies. Its standard input is a pipe that the demo holds open.
"""

import runpy
import sys

from visionbus.lifetime import end_with


def main() -> None:
    """Run the module as the main program."""
    end_with(int(sys.argv[1]))
    module = sys.argv[2]
    sys.argv[1:] = sys.argv[3:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
