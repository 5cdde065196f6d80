"""The steps of an engine that batches continuously, one by one: what it decodes, prefills, admits and sends back.

Each step decodes one token of every running sequence and carries prompts, or parts of them, within a budget of tokens,
in the order in which they came; a full KV cache sends the last admitted back to be computed anew. The scheduler is
vLLM's (vllm-project/vllm@v0.32.0 vllm/v1/core/sched/scheduler.py), prefix caching off, the costs those of `Speed`.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence
from heapq import heappop, heappush, heapreplace

from vlmctl.errors import InvalidValue
from vlmctl.planning.speed import Speed, touched_experts
from vlmctl.planning.throughput import step_seconds
from vlmctl.specs.record import Record

BLOCK_TOKENS = 16  # of a block of the KV cache, vLLM's default on CUDA


class EngineLimits(Record, frozen=True, kw_only=True):
    """What bounds an engine's steps. `prompt_tokens`: of every request, with its images; `kv_tokens`: that fit."""

    prompt_tokens: int
    max_num_batched_tokens: int
    max_num_seqs: int
    kv_tokens: int


class Served(Record, frozen=True, kw_only=True):
    """One answered request; seconds since the start."""

    arrived_at: float
    first_token_at: float
    finished_at: float
    output_tokens: int

    @property
    def ttft(self) -> float:
        """Seconds to the first token."""
        return self.first_token_at - self.arrived_at

    @property
    def tpot(self) -> float:
        """Seconds per output token after the first; 0 where there is one only."""
        return (self.finished_at - self.first_token_at) / max(self.output_tokens - 1, 1)

    @property
    def e2e(self) -> float:
        """Seconds to the last token."""
        return self.finished_at - self.arrived_at


class _Sequence:
    """A request in the engine. `left`: tokens still to prefill; `joined`: the step that gave it its latest first token.

    While it decodes, its tokens in the KV cache are `prefilled` and one for each step since.
    """

    __slots__ = ("ends", "joined", "left", "number", "prefilled", "produced")

    def __init__(self, number: int, prompt_tokens: int) -> None:
        self.number = number
        self.prefilled = prompt_tokens
        self.left = prompt_tokens
        self.produced = 0
        self.joined = self.ends = -1


class Engine:
    """The scheduler and its clock; `now` in seconds. Raises InvalidValue where the longest request never fits."""

    def __init__(self, coefficients: Speed, limits: EngineLimits, outputs: Sequence[int]) -> None:
        longest = limits.prompt_tokens + max(outputs)
        if longest > limits.kv_tokens:
            raise InvalidValue(
                f"a request of {longest:,} tokens does not fit a KV cache of {limits.kv_tokens:,}.",
                remedy="Simulate shorter requests, or more memory.",
            )
        self.now = 0.0
        self.preemptions = 0
        self.sequence_seconds = 0.0
        self._c = coefficients
        self._limits = limits
        self._outputs = outputs
        self._decode = [step_seconds(coefficients, batch) if batch else 0.0 for batch in range(limits.max_num_seqs + 1)]
        self._per_token = (coefficients.prefill - coefficients.encoder) / limits.prompt_tokens
        self.free_blocks = limits.kv_tokens // BLOCK_TOKENS
        self._workers = [0.0] * coefficients.host_workers
        self._ready: list[tuple[float, int]] = []  # (when it reaches the engine, number)
        self._waiting: deque[_Sequence] = deque()
        self._running: list[_Sequence] = []  # as admitted
        self._decoding = 0
        self._ends: dict[int, list[_Sequence]] = defaultdict(list)  # by the step that writes their last token
        self._grows = [0] * BLOCK_TOKENS  # sequences that need a new block, by the step's number modulo the block
        self._step = 0
        self._arrived = [0.0] * len(outputs)
        self._first_token = [-1.0] * len(outputs)

    def run(self, arrivals: Sequence[float]) -> list[Served]:
        """Serves the arrivals, then one more request as each is answered while there are outputs; as answered."""
        served: list[Served] = []
        for number, at in enumerate(arrivals):
            self._submit(number, at)
        submitted = len(arrivals)
        while True:
            while self._ready and self._ready[0][0] <= self.now:
                self._waiting.append(_Sequence(heappop(self._ready)[1], self._limits.prompt_tokens))
            if not self._running and not self._waiting:
                if not self._ready:
                    return served
                self.now = self._ready[0][0]
                continue
            for sequence in self._advance():
                served.append(self._served(sequence.number))
                if submitted < len(self._outputs):
                    self._submit(submitted, self.now)
                    submitted += 1

    def _served(self, number: int) -> Served:
        return Served(
            arrived_at=self._arrived[number],
            first_token_at=self._first_token[number],
            finished_at=self.now,
            output_tokens=self._outputs[number],
        )

    def _submit(self, number: int, now: float) -> None:
        """A request arrives: its images are prepared by the first worker that is free."""
        self._arrived[number] = now
        ready = now + self._c.request
        if self._c.host:
            ended = max(self._workers[0], now) + self._c.host
            heapreplace(self._workers, ended)
            ready += ended - now
        heappush(self._ready, (ready, number))

    def _advance(self) -> list[_Sequence]:
        """One step; returns the sequences that it ends."""
        room = self._make_room()
        batch = self._decoding
        work, first_tokens = self._prefill(self._limits.max_num_batched_tokens - batch, admit=room)
        lasted = self._step_seconds(batch, *work)
        self.now += lasted
        self.sequence_seconds += lasted * len(self._running)
        ended = self._ends.pop(self._step, [])
        for sequence in ended:
            self._running.remove(sequence)
            self._drop(sequence, self._step - sequence.joined)
        for sequence in first_tokens:
            if self._first_token[sequence.number] < 0.0:
                self._first_token[sequence.number] = self.now
            sequence.produced += 1
            if sequence.produced >= self._outputs[sequence.number]:
                self.free_blocks += -(-sequence.prefilled // BLOCK_TOKENS)
                self._running.remove(sequence)
                ended.append(sequence)
            else:
                self._join(sequence)
        self._step += 1
        return ended

    def _step_seconds(self, batch: int, work: float, encoder: float, tokens: int) -> float:
        """A step that decodes `batch` sequences and carries `tokens` of prompts, `work` seconds with the encoder's."""
        if batch:
            return self._decode[batch] + work
        c = self._c
        read = c.dense_read + c.expert_read * touched_experts(c.expert_share, tokens)
        return max(work, encoder + read) + c.overhead

    def _prefill(self, budget: int, *, admit: bool) -> tuple[tuple[float, float, int], list[_Sequence]]:
        """The prompts that this step carries: seconds, the encoder's part of them and tokens, and who is done by it."""
        chosen = [sequence for sequence in self._running[-1:] if sequence.left]
        limits, free = self._limits, self.free_blocks
        queued = sum(sequence.left for sequence in chosen)
        while admit and self._waiting and queued < budget and len(self._running) < limits.max_num_seqs:
            sequence = self._waiting[0]
            blocks = -(-sequence.prefilled // BLOCK_TOKENS)
            if blocks > free:
                break
            free -= blocks
            queued += sequence.left
            self._running.append(self._waiting.popleft())
            chosen.append(sequence)
        self.free_blocks = free
        work, encoder, tokens, done = 0.0, 0.0, 0, []
        for sequence in chosen:
            part = min(sequence.left, budget - tokens)
            if sequence.left == sequence.prefilled:
                encoder += self._c.encoder
            work += part * self._per_token
            tokens += part
            sequence.left -= part
            if not sequence.left:
                done.append(sequence)
        return (work + encoder, encoder, tokens), done

    def _make_room(self) -> bool:
        """Blocks for the tokens of this step, of those admitted last if there are no others; False if any had to go."""
        slot = self._step % BLOCK_TOKENS
        left_alone = True
        while self._grows[slot] > self.free_blocks:
            sequence = self._running.pop()
            self.preemptions += 1
            left_alone = False
            if sequence.left:
                self.free_blocks += -(-sequence.prefilled // BLOCK_TOKENS)
            else:
                done = self._step - 1 - sequence.joined
                self._ends[sequence.ends].remove(sequence)
                self._drop(sequence, done)
                sequence.produced += done
            # What it has written is computed again with its prompt.
            sequence.left = sequence.prefilled = self._limits.prompt_tokens + sequence.produced
            self._waiting.appendleft(sequence)
        self.free_blocks -= self._grows[slot]
        return left_alone

    def _join(self, sequence: _Sequence) -> None:
        """A sequence whose prompt is in begins to decode with the next step."""
        sequence.joined = self._step
        sequence.ends = self._step + self._outputs[sequence.number] - sequence.produced
        self._ends[sequence.ends].append(sequence)
        self._grows[self._slot(sequence)] += 1
        self._decoding += 1

    def _drop(self, sequence: _Sequence, decoded: int) -> None:
        """Free what a decoding sequence holds after so many steps."""
        self.free_blocks += -(-(sequence.prefilled + decoded) // BLOCK_TOKENS)
        self._grows[self._slot(sequence)] -= 1
        self._decoding -= 1

    def _slot(self, sequence: _Sequence) -> int:
        return (sequence.joined + 1 - sequence.prefilled) % BLOCK_TOKENS
