"""Two windows of rows side by side: which features have changed, whether predictions still hold by
domain, and what the backbone's age costs.
"""
