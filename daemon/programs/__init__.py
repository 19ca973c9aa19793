"""Put bpf/ into the kernel, bind rules to this host, and write them into the kernel's tables."""
