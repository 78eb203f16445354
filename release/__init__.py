"""What is released: a wheel and a sdist in which all of this project stands under one name, made
from a checkout, where its packages stand beside each other.
"""
