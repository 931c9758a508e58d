// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title An amount of stake over time
/// @notice One entry per second in which it changed; the past never changes. What somebody held at a moment can be asked
/// for later, so that nobody joins, leaves or re-weighs after a vote was asked for.
library StakeHistory {
    struct Entry {
        uint64 since;
        uint96 stake;
    }

    struct Trace {
        Entry[] entries;
    }

    /// @notice From this second on the amount is `stake`.
    function push(Trace storage trace, uint96 stake) internal {
        uint256 count = trace.entries.length;
        uint64 now_ = uint64(block.timestamp);
        if (count != 0 && trace.entries[count - 1].since == now_) trace.entries[count - 1].stake = stake;
        else trace.entries.push(Entry(now_, stake));
    }

    function latest(Trace storage trace) internal view returns (uint96) {
        uint256 count = trace.entries.length;
        return count == 0 ? 0 : trace.entries[count - 1].stake;
    }

    /// @notice The amount at the end of second `moment`, which is over. Logarithmic in the number of changes.
    function valueAt(Trace storage trace, uint64 moment) internal view returns (uint96) {
        uint256 low = 0;
        uint256 high = trace.entries.length;
        while (low < high) {
            uint256 middle = (low + high) / 2;
            if (trace.entries[middle].since > moment) high = middle;
            else low = middle + 1;
        }
        return low == 0 ? 0 : trace.entries[low - 1].stake;
    }
}
