"""``python -m domain_kernels`` is the command ``domain-kernels``."""

from domain_kernels.command import main

if __name__ == "__main__":
    main()
