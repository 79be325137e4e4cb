"""What the 19 instruction verifiers measure; the tools themselves are in `armlite.tools.instruction`."""
