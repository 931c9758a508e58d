from pathlib import Path
from deltaproof.chain.local_node import start_node
from deltaproof.chain.abi.enums import Outcome, Phase
from deltaproof.chain.participation import settled_leaves
from deltaproof.demo.cheat import SkipHalf
from deltaproof.protocol.types import RoundIndex
from tests.worlds.roles import build_world
def test_it(tmp_path):
    with start_node("anvil", accounts=14) as node:
        world = build_world(node, tmp_path, rounds=1, honest=3, verifiers=5, cheat=SkipHalf(), verification="committee = 2")
        counts={}
        for v in world.verifiers:
            def rep(event, message, _v=v.account, **f):
                print(_v[:6], event, message)
                if event=="replayed": counts[_v]=counts.get(_v,0)+1
            v.report=rep; v.examiner.report=rep; v.committee._report=rep
        world.open_round(); world.work(); world.attest()
        print(counts)
        assert world.gateway.tasks.phase(world.task).phase is Phase.SETTLE
        world.settle()
        view = world.gateway.tasks.round(world.task, RoundIndex(1))
        assert view.outcome is Outcome.SETTLED
        p=settled_leaves(world.gateway, world.store, world.task, RoundIndex(1), view)
        for l in p.leaves: print(l.trainer, l.verdict)
        world.close()
