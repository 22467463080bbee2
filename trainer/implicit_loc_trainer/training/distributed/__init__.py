"""One training on several devices and machines, as if it were on one."""
