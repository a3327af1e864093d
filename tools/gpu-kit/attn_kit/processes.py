# Part of the attn project, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The child processes of ./run: the worker, which may crash or hang, and nvidia-smi, which logs clocks."""

import json
import queue
import statistics
import subprocess
import sys
import threading
import time


class Worker:
    """Runs jobs one by one in a child process; starts another where one crashed or was too slow."""

    def __init__(self, command, log, start_seconds):
        self.command, self.log, self.start_seconds = command, log, start_seconds
        self.process, self.greeting, self.starts = None, None, 0

    def _start(self):
        self.starts += 1
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log,
                                        text=True)
        self.answers = queue.Queue()

        def read(stream=self.process.stdout, answers=self.answers):
            for line in stream:
                answers.put(line)
            answers.put(None)
        threading.Thread(target=read, daemon=True).start()
        greeting, why = self._answer(self.start_seconds)
        if greeting is None:
            self.stop()
            raise RuntimeError(f"the worker {why} before its first job; its log says why")
        self.greeting = greeting

    def _answer(self, seconds):
        try:
            line = self.answers.get(timeout=max(0.1, seconds))
        except queue.Empty:
            return None, f"did not answer within {seconds:.0f} s"
        if line is None:
            return None, f"ended with {self.process.wait()}"
        return json.loads(line), None

    def start(self):
        if self.process is None:
            self._start()
        return self.greeting

    def run(self, job, seconds):
        """The job's result; one with a `problem` if the process crashed or took longer than `seconds`."""
        self.start()
        try:
            self.process.stdin.write(json.dumps(job) + "\n")
            self.process.stdin.flush()
            result, why = self._answer(seconds)
        except BrokenPipeError:  # it ended after the job before
            self.stop()
            self._start()
            return self.run(job, seconds)
        if result is None:
            self.stop()
            return {"problem": f"the process that ran it {why}", "crashed": True}
        if result.get("broken"):
            self.stop()
        return result

    def stop(self):
        if self.process is not None:
            self.process.kill()
            try:
                self.process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                pass  # the driver keeps it; go on without
            self.process.stdin = None
            self.process = None


class Clocks:
    """Samples of clocks, power and temperature while it is open."""

    QUERY = ["clocks.sm", "clocks.mem", "power.draw", "temperature.gpu", "utilization.gpu"]

    def __init__(self):
        self.samples, self.process = [], None
        try:
            self.process = subprocess.Popen(
                ["nvidia-smi", "--query-gpu=" + ",".join(self.QUERY), "--format=csv,noheader,nounits", "-i", "0", "-lms",
                 "100"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        except OSError:
            return
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            values = []
            for text in line.split(","):
                try:
                    values.append(float(text))
                except ValueError:
                    values.append(None)
            self.samples.append((time.time(), values))

    def between(self, start, end):
        """Medians over what was sampled, None where nothing was."""
        inside = [values for at, values in list(self.samples) if start <= at <= end]
        names = ["sm_mhz", "memory_mhz", "watts", "celsius", "percent_busy"]
        columns = [[values[i] for values in inside if len(values) > i and values[i] is not None]
                   for i in range(len(names))]
        return {name: statistics.median(column) if column else None for name, column in zip(names, columns)}

    def stop(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()


def warm(python, module, setup, folders, processes, log, seconds):
    """Has the driver assemble the programs in `folders`, in several processes at once."""
    shares = [folders[i::processes] for i in range(processes)]
    children = [subprocess.Popen([python, "-m", module, json.dumps(dict(setup, folders=share))], stdout=log, stderr=log)
                for share in shares if share]
    end = time.monotonic() + seconds
    for child in children:
        try:
            child.wait(timeout=max(0.1, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def system(command):
    """What a program prints, or nothing."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=20).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""


PYTHON = sys.executable
