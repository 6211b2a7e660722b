import t from 'tap'
import { Answers } from '../../lib/ws/answers.ts'

t.test('a conversation has the stream that began last of those that answer it', async (t) => {
  const answers = new Answers()
  answers.add('a', 's1')
  answers.add('__proto__', 's2')

  t.equal(answers.get('a'), 's1')
  t.equal(answers.get('__proto__'), 's2')
  t.equal(answers.get('constructor'), undefined)
  answers.add('a', 's3')
  t.equal(answers.get('a'), 's3')
  answers.delete('a', 's3')
  t.equal(answers.get('a'), 's1', 'one that began before may outlive it')
  answers.delete('a', 'unknown')
  answers.delete('b', 's1')
  answers.delete('a', 's1')
  answers.delete('a', 's1')
  t.equal(answers.get('a'), undefined)
})
