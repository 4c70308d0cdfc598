/** What a process of this machine used: processor time and memory, looked up while it runs. */

/** Linux counts processor time in such ticks. */
const ticksPerSecond = 100;

/** Watches a process from outside, five times a second; its last moments are not seen. Without /proc all is 0. */
export function processUse(pid: number): { end(): { processorSeconds: number; peakBytes: number } } {
  let processorSeconds = 0, peakBytes = 0;
  const look = () => {
    try {
      // After the name, which is in brackets and may contain anything: state, then 10 numbers, then user and system time.
      const [, ...fields] = Deno.readTextFileSync(`/proc/${pid}/stat`).replace(/^.*\) /s, "").split(" ");
      processorSeconds = (Number(fields[10]) + Number(fields[11])) / ticksPerSecond;
      const highest = /^VmHWM:\s+(\d+) kB/m.exec(Deno.readTextFileSync(`/proc/${pid}/status`));
      if (highest) peakBytes = 1024 * Number(highest[1]);
    } catch {
      // It has ended, or this is no Linux.
    }
  };
  const timer = setInterval(look, 200);
  return {
    end() {
      clearInterval(timer);
      return { processorSeconds, peakBytes };
    },
  };
}
