// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title What a quorum costs when every signer signs for itself: the comparison of `gas.py`, never deployed
contract EcrecoverQuorum {
    mapping(address signer => uint96 stake) public stakes;
    uint96 public signedStake;

    function enrol(address[] calldata signers) external {
        for (uint256 i = 0; i < signers.length; ++i) {
            stakes[signers[i]] = 1;
        }
    }

    /// @param signatures compact (EIP-2098), by ascending signer
    function check(bytes32 message, bytes32[2][] calldata signatures) external {
        address previous;
        uint96 total;
        for (uint256 i = 0; i < signatures.length; ++i) {
            bytes32 vs = signatures[i][1];
            bytes32 s = vs & bytes32(uint256(type(uint256).max >> 1));
            address signer = ecrecover(message, uint8(uint256(vs) >> 255) + 27, signatures[i][0], s);
            require(signer > previous, "order");
            previous = signer;
            total += stakes[signer];
        }
        signedStake = total;
    }
}
