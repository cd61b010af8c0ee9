"""For all tests in Python."""

import os
import signal
import sys

# Whoever runs the tests in the background of a shell script has SIGINT ignored, which every process started here would
# inherit; servers would then rightly leave it alone, and tests that end them by SIGINT would wait in vain.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Workers see to it that no part of the memory for a model's results is left as others have left it.
os.environ.setdefault("SERVOIR_MARK_ROOMS", "1")

# OpenVINO's telemetry forks from a thread of the test process. A fork while another thread multiplies matrices can
# leave OpenBLAS waiting for ever, and the child crashes where grpc is loaded. Without the package OpenVINO uses a stub
# of its own.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
