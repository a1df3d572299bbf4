"""Names that tables and figures share."""

# The columns that say which condition a row is of.
CONDITION = ["architecture", "weight_decay"]
# The anchor or refit of rows that hold means over all of them.
ALL = "all"
