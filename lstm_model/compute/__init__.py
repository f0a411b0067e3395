"""What computes: the device and its precision, CPU threads, reading ahead, the processes that share a training."""
