"""For all tests in Python."""

import signal

# Whoever runs the tests in the background of a shell script has SIGINT ignored, which every process started here would
# inherit; servers would then rightly leave it alone, and tests that end them by SIGINT would wait in vain.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
