// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Stake over time
/// @notice One entry per second in which it changed; the past never changes. What somebody held at a moment can be asked for
/// later, so that nobody joins, leaves or re-weighs after a vote was asked for.
library StakeHistory {
    /// @dev One word of storage.
    struct Entry {
        uint64 since;
        uint96 stake;
    }

    struct Trace {
        Entry[] entries;
    }

    /// @notice From this second on the stake is `stake`.
    function push(Trace storage trace, uint96 stake) internal {
        uint256 count = trace.entries.length;
        Entry memory entry = Entry(uint64(block.timestamp), stake);
        if (count != 0 && trace.entries[count - 1].since == entry.since) trace.entries[count - 1] = entry;
        else trace.entries.push(entry);
    }

    function latest(Trace storage trace) internal view returns (uint96 stake) {
        uint256 count = trace.entries.length;
        if (count != 0) stake = trace.entries[count - 1].stake;
    }

    /// @notice What held at the end of second `moment`, which is over. Logarithmic in the number of changes.
    function stakeAt(Trace storage trace, uint64 moment) internal view returns (uint96 stake) {
        uint256 low = 0;
        uint256 high = trace.entries.length;
        while (low < high) {
            uint256 middle = (low + high) / 2;
            if (trace.entries[middle].since > moment) high = middle;
            else low = middle + 1;
        }
        if (low != 0) stake = trace.entries[low - 1].stake;
    }
}
