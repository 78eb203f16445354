"""Studies of the method: what each of its parts brings, beside what it is compared with."""
