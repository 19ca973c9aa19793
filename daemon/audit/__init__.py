"""What is older than the rules, or held in spite of them: finding it, and ending it where the kernel can."""
