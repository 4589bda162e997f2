"""Other libraries: one file for each, none of which needs that library to be installed unless it says so."""
