"""Passes of small networks compiled by the machine's C compiler, where it has one."""
