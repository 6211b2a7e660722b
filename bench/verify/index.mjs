export async function verifyAll () { return new Map() }
export function notesOf () { return [] }
