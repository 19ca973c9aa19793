# fish completion for nbsp(1)
nbsp completion fish 2>/dev/null | source
