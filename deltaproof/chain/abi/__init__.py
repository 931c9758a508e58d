"""The contracts as Python sees them: compiled interfaces, structs, enumerations, reverts."""
