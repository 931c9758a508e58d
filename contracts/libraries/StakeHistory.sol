// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Stake over time, and what of it was bound
/// @notice One entry per second in which it changed; the past never changes. What somebody held, or could have paid, at a
/// moment can be asked for later, so that nobody joins, leaves or re-weighs after a vote was asked for, and nobody pays for
/// a vote that it could not afford.
library StakeHistory {
    /// @dev One word of storage.
    struct Entry {
        uint64 since;
        uint96 stake;
        uint96 locked;
    }

    struct Trace {
        Entry[] entries;
    }

    /// @notice From this second on the stake is `stake`, and `locked` of it is bound.
    function push(Trace storage trace, uint96 stake, uint96 locked) internal {
        uint256 count = trace.entries.length;
        Entry memory entry = Entry(uint64(block.timestamp), stake, locked);
        if (count != 0 && trace.entries[count - 1].since == entry.since) trace.entries[count - 1] = entry;
        else trace.entries.push(entry);
    }

    function latest(Trace storage trace) internal view returns (Entry memory entry) {
        uint256 count = trace.entries.length;
        if (count != 0) entry = trace.entries[count - 1];
    }

    /// @notice What held at the end of second `moment`, which is over. Logarithmic in the number of changes.
    function entryAt(Trace storage trace, uint64 moment) internal view returns (Entry memory entry) {
        uint256 low = 0;
        uint256 high = trace.entries.length;
        while (low < high) {
            uint256 middle = (low + high) / 2;
            if (trace.entries[middle].since > moment) high = middle;
            else low = middle + 1;
        }
        if (low != 0) entry = trace.entries[low - 1];
    }
}
