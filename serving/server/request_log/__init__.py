"""What a server keeps of the requests that it has answered: a sampled log of them, and those that
were slow.
"""
