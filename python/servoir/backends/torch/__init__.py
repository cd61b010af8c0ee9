"""The backend PyTorch. `backend` opens and runs; the others find out what a file's inputs and outputs are."""
