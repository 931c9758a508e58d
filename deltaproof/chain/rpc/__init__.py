"""One endpoint and one key: connections, transactions in nonce order, fees, the journal, private keys."""
