"""Choose what computes: the device and its precision, CPU threads, and the processes that share a training."""
