"""Folders on object stores: taken in to a local folder, worked on there, uploaded whole or not at
all. An index, written last, says which files form the folder.
"""
