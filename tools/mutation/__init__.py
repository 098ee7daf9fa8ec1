"""The parts of the mutation tester, tools/mutants.py."""
