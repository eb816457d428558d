/** Read by the client Bolt on a developer's machine, not by the registry. */
const OTHER_PROGRAMS = ['DRIFT_REGISTRY_ENDPOINT'];

/** What container platforms put beside a service called `drift`; the values are theirs, nobody set them to configure us. */
const SERVICE_LINK =
  /^DRIFT(_[A-Z0-9_]+)?_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$/;
const LINK_PORT = /^DRIFT(_[A-Z0-9_]+)?_PORT$/;

/** Whether a `DRIFT_*` name belongs to somebody else. */
export function isForeignEnv(name: string, value: string): boolean {
  if (OTHER_PROGRAMS.includes(name) || SERVICE_LINK.test(name)) return true;
  return LINK_PORT.test(name) && /^(tcp|udp|sctp):\/\//.test(value);
}
