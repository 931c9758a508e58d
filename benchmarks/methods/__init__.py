"""Every tuning method beside plain peft."""
