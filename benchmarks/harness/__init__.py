"""What all benchmarks share: servables, processes, the description of the machine."""
