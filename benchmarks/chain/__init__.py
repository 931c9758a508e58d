"""Gas of every call, and how long an audit takes."""
