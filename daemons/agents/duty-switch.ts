/** Whether the agent is on duty, as the last beat said; `begin` is called the first time that it is. */
export function dutySwitch(begin: (onDuty: () => boolean) => Promise<void>): (on: boolean) => void {
  let now = false;
  let begun = false;
  return (on) => {
    now = on;
    if (!on || begun) return;
    begun = true;
    begin(() => now).catch(() => {
      begun = false;
    });
  };
}
