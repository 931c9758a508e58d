"""What people look at: tables, one self-contained page, the same served live."""
