"""The lab's AWS API: moto's server, which keeps everything in memory, and a journal that brings it back."""
