// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

/// @title The token devchain deploys: a plain ERC-20 plus two calls whose only
/// purpose is to put richer argument types on the chain.
contract Token {
    /// A purchase order, as carried by order() and the Ordered event.
    struct Order {
        address buyer;
        uint256 amount;
        string memo;
    }

    string public name;
    string public symbol;
    uint8 public constant decimals = 6;
    uint256 public totalSupply;

    mapping(address holder => uint256) public balanceOf;
    mapping(address holder => mapping(address spender => uint256)) public allowance;

    event Transfer(address indexed from, address indexed to, uint256 value);
    event Approval(address indexed owner, address indexed spender, uint256 value);
    event Ordered(address indexed seller, Order o);
    event Tagged(bytes4 indexed kind, uint96 weight, bytes32[] marks);

    error BalanceTooLow(address holder, uint256 has, uint256 needs);
    error AllowanceTooLow(address spender, uint256 has, uint256 needs);
    error ZeroAddress();

    /// Splits `each` units to every holder, so that all of them can pay at once.
    constructor(string memory name_, string memory symbol_, address[] memory holders, uint256 each) {
        name = name_;
        symbol = symbol_;
        for (uint256 i = 0; i < holders.length; i++) {
            totalSupply += each;
            balanceOf[holders[i]] += each;
            emit Transfer(address(0), holders[i], each);
        }
    }

    function transfer(address to, uint256 value) external returns (bool) {
        move(msg.sender, to, value);
        return true;
    }

    function approve(address spender, uint256 value) external returns (bool) {
        allowance[msg.sender][spender] = value;
        emit Approval(msg.sender, spender, value);
        return true;
    }

    function transferFrom(address from, address to, uint256 value) external returns (bool) {
        uint256 allowed = allowance[from][msg.sender];
        if (allowed < value) revert AllowanceTooLow(msg.sender, allowed, value);
        if (allowed != type(uint256).max) allowance[from][msg.sender] = allowed - value;
        move(from, to, value);
        return true;
    }

    function order(Order calldata o) external {
        emit Ordered(msg.sender, o);
    }

    function tag(bytes4 kind, uint96 weight, bytes32[] calldata marks) external {
        emit Tagged(kind, weight, marks);
    }

    function move(address from, address to, uint256 value) private {
        if (to == address(0)) revert ZeroAddress();
        uint256 has = balanceOf[from];
        if (has < value) revert BalanceTooLow(from, has, value);
        unchecked {
            balanceOf[from] = has - value;
            balanceOf[to] += value;
        }
        emit Transfer(from, to, value);
    }
}
