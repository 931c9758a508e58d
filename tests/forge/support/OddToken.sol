// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @dev An ERC-20 that can charge a fee, fail without reverting, or call back during a transfer.
contract OddToken {
    mapping(address => uint256) public balanceOf;
    mapping(address => mapping(address => uint256)) public allowance;
    uint256 private _fee;
    bool private _silentFailure;
    address private _target;
    bytes private _data;
    bool public callbackSucceeded;

    function mint(address to, uint256 amount) external {
        balanceOf[to] += amount;
    }

    function setFee(uint256 fee) external {
        _fee = fee;
    }

    function setSilentFailure(bool silent) external {
        _silentFailure = silent;
    }

    function setCallback(address target, bytes calldata data) external {
        (_target, _data) = (target, data);
        balanceOf[address(this)] += 1_000;
    }

    function approve(address spender, uint256 amount) external returns (bool) {
        allowance[msg.sender][spender] = amount;
        return true;
    }

    function allow(address owner, address spender, uint256 amount) external {
        allowance[owner][spender] = amount;
    }

    function transfer(address to, uint256 amount) external returns (bool) {
        return _move(msg.sender, to, amount);
    }

    function transferFrom(address from, address to, uint256 amount) external returns (bool) {
        allowance[from][msg.sender] -= amount;
        return _move(from, to, amount);
    }

    function _move(address from, address to, uint256 amount) private returns (bool) {
        if (_silentFailure) return false;
        balanceOf[from] -= amount;
        balanceOf[to] += amount - _fee;
        if (_target != address(0)) {
            address target = _target;
            _target = address(0); // once
            (callbackSucceeded,) = target.call(_data);
        }
        return true;
    }
}

/// @dev An ERC-20 that refuses to pay somebody.
contract RefusingToken {
    mapping(address => uint256) public balanceOf;
    mapping(address => mapping(address => uint256)) public allowance;
    mapping(address => bool) private _refused;

    function mint(address to, uint256 amount) external {
        balanceOf[to] += amount;
    }

    function refuse(address account) external {
        _refused[account] = true;
    }

    function approve(address spender, uint256 amount) external returns (bool) {
        allowance[msg.sender][spender] = amount;
        return true;
    }

    function transfer(address to, uint256 amount) external returns (bool) {
        require(!_refused[to], "refused");
        balanceOf[msg.sender] -= amount;
        balanceOf[to] += amount;
        return true;
    }

    function transferFrom(address from, address to, uint256 amount) external returns (bool) {
        balanceOf[from] -= amount;
        balanceOf[to] += amount;
        return true;
    }
}
