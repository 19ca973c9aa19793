"""From the kernel's violation records to records in words: decoding, coalescing, describing."""
